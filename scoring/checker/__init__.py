"""Is a submission within the rules? What its source shows, and what a dry run shows.

`submission_rules` reads the source; `dry_run` starts `rehearsal` in processes of their
own, where `watch` notices what a submission does beside its work. Of the other rooms
this one uses `reading` alone.
"""
