"""The proof that nothing can stall: a policy, its people and ninety days, asked of the router itself.

`world` is what is read, once. `questions` are what a request of each class asks of
the router, those with the same answer put once. `sweeping` puts them at each instant at which
an answer may change; `structure` looks at what no instant changes; `hours` adds up the
clocks. All of it is pure but `loading`. Source: DESIGN 4.
"""
