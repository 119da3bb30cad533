"""`python -m resnetkit` and `torchrun -m resnetkit`."""

from resnetkit.cli import main

if __name__ == "__main__":
    main()
