"""The graph on disk between the two frameworks, and what is known of its ops. numpy only."""
