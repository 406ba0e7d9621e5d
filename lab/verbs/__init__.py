"""The verbs of the `lab` command, one function each, grouped by what they are about. `lab/__main__.py` lists them."""
