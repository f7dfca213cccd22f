"""What PyTorch3D's modules hold beyond tirender's, each under the path of its module."""
