#pragma once
// What PID 1 says while there is nobody to log to: to the console and to the kernel's log, from where
// journald takes it later.

#include <string>

#include "common/event.h"

namespace upkeep::init {

// "upkeep-init: text" on the console (standard error) and in /dev/kmsg once that exists.
void say(const std::string& text);

// What of EVENT PID 1 says at once: warnings and failures.
void say_event(const Event& event);

}  // namespace upkeep::init
