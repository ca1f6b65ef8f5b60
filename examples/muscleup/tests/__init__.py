"""The app's own tests: `python -m unittest`, in the image or wherever DATABASE_URL and REDIS_URL lead to servers."""
