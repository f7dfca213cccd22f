raise ImportError("the OpenGL rasterizer is not part of tirender; MeshRasterizer needs no OpenGL")
