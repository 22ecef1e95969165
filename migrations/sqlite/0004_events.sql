-- What an event is about, so that nobody has to read its body for it. NULL for events of earlier versions.

ALTER TABLE events ADD COLUMN step TEXT;                                            -- the step's title; NULL for the end of a job
ALTER TABLE events ADD COLUMN transition_seq INTEGER CHECK (transition_seq >= 1);  -- transitions.seq of a job.step_changed
