-- The home that a database belongs to, wherever it is copied or moved to.
create table home (id text not null);
insert into home (id) select lower(hex(randomblob(16)));

-- A trial may belong to several sweeps. `v_sweep_trials` has a row for each pair, with what that sweep says of it: the
-- slug, the axes, whether it was taken out there. `v_trials` has each trial once, as the first sweep has it that has not
-- taken it out. pandas knows `axes` as something else.
drop view v_best_lr;
drop view v_trials;
drop view v_points;

create view v_sweep_trials as
select
  t.trial, t.sweep, t.slug,
  case
    when t.cancelled = 1 then 'cancelled'
    when leaf.state = 'complete' then 'complete'
    when exists (select 1 from trial_stages p join stages s using (stage)
                 where p.sweep = t.sweep and p.trial = t.trial and s.state = 'diverged') then 'diverged'
    when exists (select 1 from trial_stages p join stages s using (stage)
                 where p.sweep = t.sweep and p.trial = t.trial and s.state = 'failed') then 'failed'
    when exists (select 1 from trial_stages p join stages s using (stage)
                 where p.sweep = t.sweep and p.trial = t.trial and s.state = 'running') then 'running'
    else 'pending'
  end as state,
  t.trainer, t.model, t.params_non_embedding, t.params_total, t.width, t.layers, t.heads, t.vocab, t.context,
  t.parametrization, t.lr, t.batch_tokens, t.schedule, t.warmup_tokens, t.decay_fraction, t.tokens, t.steps, t.seed,
  t.flops,
  case when t.decayed = 1 and leaf.state = 'complete' then e.loss end as final_loss,
  case when t.decayed = 1 and leaf.state = 'complete' then e.bits_per_byte end as bits_per_byte,
  case when leaf.state <> 'complete' then (
    select min(s.diverged_step) * t.batch_tokens from trial_stages p join stages s using (stage)
    where p.sweep = t.sweep and p.trial = t.trial and s.state = 'diverged') end as diverged_at_tokens,
  leaf.device as device, t.numerics, t.code_epoch, leaf.code_version as code_version, t.data_hash, t.config_hash,
  case when leaf.state = 'complete' then (
    select sum(s.seconds) from trial_stages p join stages s using (stage)
    where p.sweep = t.sweep and p.trial = t.trial) end as seconds,
  t.tokens_asked, t.axes as axes_json, t.position
from trials t
join stages leaf on leaf.stage = t.leaf
left join points e on e.stage = t.leaf and e.step = t.steps and e.split = t.held_out
where t.asked = 1
union all
select
  r.import || ':' || r.position, r.import, r.label, 'complete', 'imported', null, r.params, null, null, null, null, null, null,
  null, r.lr, r.batch_tokens, r.schedule, null, null, r.tokens, null, r.seed,
  r.flops, r.loss, null, null, null, null, null, null, i.source_hash, null, null, null, '{}', r.position
from imported_runs r join imports i using (import);

create view v_trials as
select v.* from v_sweep_trials v
where not exists (
  select 1 from trials other
  where other.trial = v.trial and other.asked = 1
    and (other.cancelled, other.sweep) < (v.state = 'cancelled', v.sweep));

-- Names of models are the sweeps' own: imported runs have none. Its tokens are the budget that was asked.
create view v_best_lr as
select sweep, model, tokens_asked as tokens, lr, min(final_loss) as final_loss
from v_sweep_trials
where final_loss is not null and trainer <> 'imported'
group by sweep, model, tokens_asked;

-- The stages of each trial in order, with the seconds of training before each; null: an earlier one has not ended.
create view v_paths as
select
  ts.sweep, ts.trial, ts.position, ts.stage, s.from_steps, coalesce(s.diverged_step, s.to_steps) as end_steps, s.seconds,
  case when count(s.seconds) over earlier = count(*) over earlier then coalesce(sum(s.seconds) over earlier, 0.0) end
    as seconds_before
from trial_stages ts join stages s on s.stage = ts.stage
window earlier as (partition by ts.sweep, ts.trial order by ts.position
                   rows between unbounded preceding and 1 preceding);

-- Seconds are those of training from the trial's own beginning. What was measured is the time of each stage; within it
-- they are spread evenly over its steps.
create view v_points as
select
  t.trial, p.stage, p.step, p.step * t.batch_tokens as tokens, p.step * t.batch_tokens * t.flops_per_token as flops,
  p.lr, p.split, p.loss, p.grad_norm,
  path.seconds_before
    + path.seconds * (p.step - path.from_steps) / (path.end_steps - path.from_steps) as seconds,
  t.lr as peak_lr
from (select trial, min(sweep) as sweep from trials where asked = 1 group by trial) one
join trials t on t.sweep = one.sweep and t.trial = one.trial
join v_paths path on path.sweep = t.sweep and path.trial = t.trial
join points p on p.stage = path.stage;
