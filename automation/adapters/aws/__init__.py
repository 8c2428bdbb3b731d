"""Amazon Web Services by boto3: servers, networks and what is kept of them, in the regions of one account."""
