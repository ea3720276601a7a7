-- What every script begins with. KEYS[1] is the head of the shard, ARGV[1] the epoch and ARGV[2] the generation.
local head = redis.call('HMGET', KEYS[1], 'epoch', 'generation', 'version', 'count', 'building')
if head[1] and tonumber(head[1]) > tonumber(ARGV[1]) then return {-1} end
if head[2] ~= ARGV[2] then return {-2} end
local base = string.sub(KEYS[1], 1, -2) .. ARGV[2] .. ':'
local due = base .. 'd'
local cut = base .. 'c'
local function entries(endpoint) return base .. 'e:' .. endpoint end
