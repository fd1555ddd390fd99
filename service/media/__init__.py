"""Pictures, video and video jobs."""
