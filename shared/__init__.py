"""The contract between trainer and service: landmarks, crop, pixels, detectors, bundle. Never imports torch."""
