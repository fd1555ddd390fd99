"""What says that a picture is synthetic: watermark, metadata, signed credentials, a visible label."""
