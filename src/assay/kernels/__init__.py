"""Array kernels: the only home of numba, tiling and bit tricks. Arrays in, arrays out, no label types."""
