module loper.run/cmd/loper-net

go 1.26.3

replace loper.run => ../..
