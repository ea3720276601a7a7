-- ARGV: …, window, low water, number of puts, then endpoint, delivery and time of each, then endpoint and delivery of
-- each that is taken out.
local window, low, puts = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local count, position = 0, 6
local touched, order = {}, {}
local function touch(endpoint)
  if not touched[endpoint] then
    touched[endpoint] = true
    order[#order + 1] = endpoint
  end
end
for _ = 1, puts do
  local endpoint, delivery, at = ARGV[position], ARGV[position + 1], ARGV[position + 2]
  position = position + 3
  count = count + redis.call('ZADD', entries(endpoint), at, delivery)
  touch(endpoint)
end
while position <= #ARGV do
  local endpoint = ARGV[position]
  local removed = redis.call('ZREM', entries(endpoint), ARGV[position + 1])
  position = position + 2
  count = count - removed
  touch(endpoint)
end
local answer = {0, 0, 0}
for _, endpoint in ipairs(order) do
  local key = entries(endpoint)
  local held = redis.call('ZCARD', key)
  if held > window then
    count = count - redis.call('ZREMRANGEBYRANK', key, window, -1)
    redis.call('SADD', more, endpoint)
  elseif held < low and redis.call('SISMEMBER', more, endpoint) == 1 then
    answer[#answer + 1] = endpoint
  end
  local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
  if first[2] then redis.call('ZADD', due, first[2], endpoint) else redis.call('ZREM', due, endpoint) end
end
answer[2] = redis.call('HINCRBY', KEYS[1], 'version', 1)
answer[3] = redis.call('HINCRBY', KEYS[1], 'count', count)
return answer
