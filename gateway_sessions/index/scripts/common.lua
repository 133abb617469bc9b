-- What both scripts use.  A scope has four keys in Redis, all with the scope as their hash tag:
--   keys    hash: key (8 bytes) -> ids of the sessions it leads to, with spaces between, newest last
--   marks   hash: id -> version (4 bytes), used (8 bytes: unix seconds), the session's keys
--   states  hash: id -> state
--   order   sorted set: ids by used
-- Few large hashes and not a key in Redis for each of ours: that takes a third of the memory, and one
-- command reads or writes many fields.
local MARK = 12 -- bytes of version and used

-- Split a string into keys.
local function split(packed)
  local keys = {}
  for place = 1, #packed, 8 do
    keys[#keys + 1] = string.sub(packed, place, place + 7)
  end
  return keys
end

-- Run a command with any number of arguments; Lua passes no more than 8,000 at once.
local function run(command, key, arguments)
  local answers = {}
  for first = 1, #arguments, 4000 do
    local last = math.min(first + 3999, #arguments)
    local answer = redis.call(command, key, unpack(arguments, first, last))
    if type(answer) == 'table' then
      for _, each in ipairs(answer) do
        answers[#answers + 1] = each
      end
    end
  end
  return answers
end
