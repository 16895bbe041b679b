"""The exec server: the program inside a sandbox. Standard library only, Python >= 3.9, mounted into foreign images.

It runs as process 1 of the sandbox's pid namespace, so nothing inside can kill or stop it (pid_namespaces(7)), and when
it ends the kernel kills all the rest. It ends when its stdin does (its worker died) and at its lifetime.
It speaks over its own stdin and stdout; the frames are described in docs/reference/sandbox.md.
"""
