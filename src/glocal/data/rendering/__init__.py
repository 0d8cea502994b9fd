"""How the demo scenes are rendered: materials, geometry, light. `glocal.data.scenes` is the way in."""
