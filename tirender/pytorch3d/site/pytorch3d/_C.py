raise ImportError("pytorch3d._C is compiled code; tirender has the public functions that call it")
