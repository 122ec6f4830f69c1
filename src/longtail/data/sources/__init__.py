"""Where labelled images come from: folders, tables, shards, hubs, and the sets of the papers."""
