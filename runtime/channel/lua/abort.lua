-- End a run with a reason, which everybody who waits for its next state receives. The first reason stays.
--
-- KEYS  see prelude.lua
-- ARGV  1 reason (opaque bytes)  2 worker, or '' for the client  3 token
-- Reply {'OK' | 'DONE' | 'ABORT' | 'FENCED' | 'GONE', version}
--       FENCED: a replaced attempt may not end the run of its replacement

local reply = miscounted(3) or ARGV[2] ~= '' and unlike('worker', 2, 0, LAST)
if reply then return reply end
if not version then return {'GONE', 0} end
if word ~= 'run' then return {string.upper(word), version} end
if ARGV[2] ~= '' then
  local token = redis.call('HGET', META, 't' .. ARGV[2])
  if token and token ~= ARGV[3] then return {'FENCED', version} end
end
abort_run(ARGV[1])
return {'OK', version}
