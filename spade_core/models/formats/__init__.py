"""Networks that say themselves how they are built: folders of timm and transformers, hub names, ONNX files."""
