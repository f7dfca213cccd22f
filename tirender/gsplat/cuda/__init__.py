"""``gsplat.cuda``: where gsplat's trainers import single functions from; nothing here needs CUDA."""
