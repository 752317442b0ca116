#pragma once
#include "machine/mounts.h"
#include "machine/root.h"
#include "machine/temporary_files.h"
#include "machine/used_files.h"
