"""How pictures become pixels: decoding, preprocessing, sources, splits, batches."""
