-- KEYS: keys, marks, states.
-- ARGV: the keys to look up, 8 bytes each; seconds after which an unused session is gone; then ids
-- with the version of each that the caller has.
-- Returns of each session: id, version and used as in its mark, state or nil.
local KEY_LISTS, MARKS, STATES = KEYS[1], KEYS[2], KEYS[3]
local known = {}
for place = 3, #ARGV, 2 do
  known[ARGV[place]] = tonumber(ARGV[place + 1])
end

local ids, seen = {}, {}
for _, list in ipairs(run('HMGET', KEY_LISTS, split(ARGV[1]))) do
  if list then
    for id in string.gmatch(list, '%S+') do
      if not seen[id] then
        seen[id] = true
        ids[#ids + 1] = id
      end
    end
  end
end

local since = tonumber(redis.call('TIME')[1]) - tonumber(ARGV[2])
local found, wanted, places = {}, {}, {}
for number, mark in ipairs(run('HMGET', MARKS, ids)) do
  if mark then
    local version, used = struct.unpack('>I4d', mark)
    if used >= since then
      local id, place = ids[number], #found
      found[place + 1] = id
      found[place + 2] = string.sub(mark, 1, MARK)
      found[place + 3] = false -- nil would end the reply
      if known[id] ~= version then
        wanted[#wanted + 1] = id
        places[#places + 1] = place + 3
      end
    end
  end
end
for number, state in ipairs(run('HMGET', STATES, wanted)) do
  found[places[number]] = state
end
return found
