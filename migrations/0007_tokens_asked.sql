-- The budget as the sweep names it is one at every batch; whole batches make its tokens a few more or fewer. Trials from
-- before this column keep it in their settings: a count, or tokens for each parameter.
alter table trials add column tokens_asked integer not null default 0;
update trials set tokens_asked = coalesce(
  json_extract(settings, '$.tokens.count'),
  cast(round(json_extract(settings, '$.tokens.per_param') * params_non_embedding) as integer),
  tokens);

-- Runs of others have no budget that was asked: nobody told.
drop view v_best_lr;
drop view v_trials;

create view v_trials as
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
  t.tokens_asked, t.axes, t.position
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

-- Names of models are the sweeps' own: imported runs have none. Its tokens are the budget that was asked.
create view v_best_lr as
select sweep, model, tokens_asked as tokens, lr, min(final_loss) as final_loss
from v_trials
where final_loss is not null and trainer <> 'imported'
group by sweep, model, tokens_asked;
