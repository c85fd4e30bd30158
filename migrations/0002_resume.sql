-- States on disk: the ends of trunks, which forks start from, and places inside a stage, which the next attempt starts
-- from. A row that goes away is a state that nothing needs, or that was damaged.
create table checkpoints (
  stage text not null references stages (stage),
  step integer not null,
  attempt integer not null,
  -- In the home, or absolute where the home was given so.
  path text not null,
  hash text not null,
  bytes integer not null default 0,
  primary key (stage, step)
) without rowid;
insert into checkpoints (stage, step, attempt, path, hash)
select stage, to_steps, attempts, checkpoint, checkpoint_hash from stages where checkpoint is not null;
alter table stages drop column checkpoint;
alter table stages drop column checkpoint_hash;

-- How a large sweep stands is asked often, and the rows themselves are wide.
create index trials_standing on trials (sweep, trial, asked, cancelled, leaf);
create index stages_standing on stages (stage, state, from_steps, to_steps, batch_tokens, flops_per_token);
create index events_by_subject on events (kind, subject);

-- Steps done before the attempt's first; none: its worker said nothing.
alter table attempts add column from_steps integer;
-- The worker's process: with its start and the machine's boot it cannot be mistaken for another.
alter table attempts add column pid_started integer;
alter table attempts add column boot text;
-- Bytes of what its worker was told and said.
alter table attempts add column bytes integer;
-- Sequences in one forward pass, where a full memory made them fewer than planned.
alter table attempts add column micro_batch integer;
update attempts set from_steps = (select from_steps from stages s where s.stage = attempts.stage) where pid is not null;
