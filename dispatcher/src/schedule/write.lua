-- ARGV: …, window, low water, 1 if this is the front of all that there is, number of puts, then endpoint, delivery and
-- time of each, then endpoint and delivery of each that is taken out.
local window, low, puts = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[6])
local count, position = 0, 7
local touched, order, ends = {}, {}, {}
local function touch(endpoint)
  if not touched[endpoint] then
    touched[endpoint] = true
    order[#order + 1] = endpoint
    if ARGV[5] == '1' then redis.call('ZREM', cut, endpoint) end
    local score = redis.call('ZSCORE', cut, endpoint)
    if score then ends[endpoint] = tonumber(score) end
  end
end
for _ = 1, puts do
  local endpoint, delivery, at = ARGV[position], ARGV[position + 1], ARGV[position + 2]
  position = position + 3
  touch(endpoint)
  -- From where it is cut off on, others that are earlier may be missing.
  if ends[endpoint] and tonumber(at) >= ends[endpoint] then
    count = count - redis.call('ZREM', entries(endpoint), delivery)
  else
    count = count + redis.call('ZADD', entries(endpoint), at, delivery)
  end
end
while position <= #ARGV do
  local endpoint = ARGV[position]
  touch(endpoint)
  count = count - redis.call('ZREM', entries(endpoint), ARGV[position + 1])
  position = position + 2
end
local answer = {0, 0, 0}
for _, endpoint in ipairs(order) do
  local key = entries(endpoint)
  local held = redis.call('ZCARD', key)
  if held > window then
    redis.call('ZADD', cut, redis.call('ZRANGE', key, window, window, 'WITHSCORES')[2], endpoint)
    count = count - redis.call('ZREMRANGEBYRANK', key, window, -1)
  elseif held < low and ends[endpoint] then
    answer[#answer + 1] = endpoint
  end
  local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
  if first[2] then redis.call('ZADD', due, first[2], endpoint) else redis.call('ZREM', due, endpoint) end
end
answer[2] = redis.call('HINCRBY', KEYS[1], 'version', 1)
answer[3] = redis.call('HINCRBY', KEYS[1], 'count', count)
return answer
