"""The one public door of the platform: authentication, users, computes, all jobs, pass-through."""
