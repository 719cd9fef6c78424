import os
import socket
import stat


def make(folder, notebook):
    path = folder / "target.ipynb"
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))
    except PermissionError:
        with socket.socket(socket.AF_UNIX) as one:
            os.chdir(folder)
            one.bind("target.ipynb")
