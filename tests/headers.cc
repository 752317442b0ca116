// What the headers that all tests read are precompiled for.
