raise ImportError("implicitron is not part of tirender")
