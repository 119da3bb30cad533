"""The parts of the `predict.py` of an export: they use Pillow, NumPy and one runtime, and nothing of this package."""
