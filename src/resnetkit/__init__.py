"""ResNetKit."""
