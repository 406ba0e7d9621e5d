"""What a run was, told to people: the summary in the terminal, ladders of connections, the HTML report.

`text.py` and `html.py` are the two ways out; both say the same sentences (`story.py`) about the same files
(`run_files.py`). Nothing here judges or measures: the tables and the verdict are read, never changed.
"""
