-- Where the time of a finished attempt went, in seconds by part: JSON, as the worker said it.
alter table attempts add column spent text;
