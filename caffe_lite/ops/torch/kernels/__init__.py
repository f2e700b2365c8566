"""Kernels in C++ for CPUs, compiled on the machine where they run, each behind the module of its name."""
