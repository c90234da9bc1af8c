"""Pictures of results: tracks drawn on frames, as a video and as a contact sheet."""
