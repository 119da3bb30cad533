"""The data doctor: what is wrong with a set of pictures, before a run is wasted on it."""
