-- ARGV: …, until, stale, offset, limit.
local answer = {0}
local found = redis.call('ZRANGE', due, '-inf', ARGV[3], 'BYSCORE', 'LIMIT', ARGV[5], ARGV[6])
for _, endpoint in ipairs(found) do
  local key = entries(endpoint)
  local stale = redis.call('ZREMRANGEBYSCORE', key, '-inf', '(' .. ARGV[4])
  if stale > 0 then redis.call('HINCRBY', KEYS[1], 'count', -stale) end
  local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
  if first[2] then
    if stale > 0 then redis.call('ZADD', due, first[2], endpoint) end
    answer[#answer + 1] = endpoint
    answer[#answer + 1] = first[2]
  else
    redis.call('ZREM', due, endpoint)
  end
end
return answer
