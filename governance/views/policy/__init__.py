"""The pages of the policy: its versions, a draft and what differs. Admins edit, auditors read."""
