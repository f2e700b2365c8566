"""Kernels in C++ for CPUs, compiled where they run, each behind the module of its name."""
