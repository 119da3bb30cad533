"""How well objects are found: average precision, what a person gets at the working point, and each kind of mistake."""
