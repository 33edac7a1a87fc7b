-- Renew the client's lease on a live run, and tell how far the run is.
--
-- KEYS  see prelude.lua
-- ARGV  1 lease of the client (ms)  2 whether to get the newest state too, which may be large: '0' or '1'
--       3 whether to get what the workers compute on: '0' or '1'
-- Reply {'RUN' | 'DONE' | 'ABORT' | 'GONE', version, workers, ids that have not joined,
--        ids that have not pushed in this iteration (none once the run has ended), why, state, {'<w>:<target>', ...},
--        for each worker the number of its attempt (0: none has joined), and how often it gave a sign of life}

local reply = miscounted(3) or unlike('lease', 1, 1, MOST) or unlike('newest', 2, 0, 1) or
  unlike('targets', 3, 0, 1)
if reply then return reply end
if not version then return {'GONE', 0, 0, {}, {}, '', '', {}, {}, {}} end

local pushed, targets, of = {}, {}, {}
local all = redis.call('HGETALL', META)
for at = 1, #all, 2 do
  local name = all[at]
  of[name] = all[at + 1]
  if ARGV[3] == '1' and string.sub(name, 1, 1) == 'x' then targets[#targets + 1] = string.sub(name, 2) end
end
for _, name in ipairs(redis.call('HKEYS', PARTIALS)) do pushed[name] = true end
local missing, waiting, attempts, beats = {}, {}, {}, {}
for worker = 0, workers - 1 do
  if not of['n' .. worker] then missing[#missing + 1] = worker end
  attempts[#attempts + 1] = tonumber(of['n' .. worker] or 0)
  beats[#beats + 1] = tonumber(of['b' .. worker] or 0)
  if word == 'run' and not pushed['d' .. worker] then waiting[#waiting + 1] = worker end
end
local state = ARGV[2] == '1' and newest_state() or ''
if word == 'run' then
  redis.call('SET', CLIENT, '1', 'PX', ARGV[1])
  keep()
end
return {string.upper(word), version, workers, missing, waiting, why, state, targets, attempts, beats}
