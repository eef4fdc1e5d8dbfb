"""What measures a strategy: the face, the objectives that come with autonat, and users' own."""
