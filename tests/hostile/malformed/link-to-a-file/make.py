def make(folder, notebook):
    course = folder.parent.parent.parent
    (folder / "target.ipynb").symlink_to(course / "source" / "target" / "target.ipynb")
