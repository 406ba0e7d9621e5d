"""All code that runs inside the lab's hosts. It imports nothing else of `lab`, and nearly only the standard library."""
