"""Reading and writing: the edge where every other convention becomes ours."""
