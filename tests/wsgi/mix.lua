-- mix.lua - what wrk asks for, by turns.
-- SPDX-License-Identifier: MIT
local paths = {"/", "/nowhere", "/", "/fail", "/big"}
local n = 0

request = function()
	n = n + 1
	return wrk.format("GET", paths[n % #paths + 1])
end
